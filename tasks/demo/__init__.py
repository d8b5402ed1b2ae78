"""The demonstration: a user's endpoint, a mailbox, and a program that works the catalog against them."""
