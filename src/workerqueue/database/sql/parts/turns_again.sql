-- The queues whose next job was in somebody's hand.
select left_over.name from left_over
where left_over.waiting and cardinality(left_over.jobs) = 0 and not left_over.is_seen_to
  -- What nobody alive can work waits for a client that can: another look finds no more.
  and exists (select from first where first.name = left_over.name and not first.waits)
