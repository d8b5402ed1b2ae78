-- What stands in the history of a job whose client has died.
jsonb_build_object(
    'at', statement_timestamp(), 'attempt', job.attempt, 'type', 'ClientLost',
    'error', 'the client that ran it is gone', 'trace', null,
    'client', coalesce((select client.id from {schema}.client where client.number = job.client), job.client::text)
)
