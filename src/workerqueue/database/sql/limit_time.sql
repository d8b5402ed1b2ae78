-- Have the server itself end every further statement of this transaction that takes too long.
--
-- The number is filled in before it is sent. Who only stops waiting leaves a statement behind that goes on, and holds
-- its locks.
-- Called by: the cleaner and the pruner.
set local statement_timeout = {milliseconds}
