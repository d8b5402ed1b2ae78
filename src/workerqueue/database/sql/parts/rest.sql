-- What most jobs have none of, as one column: each one costs as much as a no-op job does.
case when attempted_by is not null or errors is not null or tags is not null or metadata is not null
          or retry is not null or context is not null or progress is not null or checkpoint is not null
          or deadline_at is not null
     then json_build_object(
         'attempted_by', (
             select json_agg(coalesce(
                 (select id from {schema}.client where client.number = worker.number), worker.number::text
             ) order by place)
             from unnest(attempted_by || client) with ordinality as worker (number, place)
         ),
         'errors', errors, 'tags', tags, 'metadata', metadata, 'retry', retry,
         'context', context, 'progress', progress, 'checkpoint', checkpoint,
         'deadline_at', deadline_at
     )::text end
