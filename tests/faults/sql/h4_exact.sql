-- H4: jobs whose effect in the transaction that completes them is there more or less than once, or without it.
select row.id as job, row.state || ' with ' || count(exact.job) || ' effects' as what
from faults.row
left join faults.exact on exact.job = row.id
where row.kind = 'exact'
group by row.id, row.state
having count(exact.job) <> case row.state when 'completed' then 1 else 0 end
