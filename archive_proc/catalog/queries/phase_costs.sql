-- phase_costs: where the time of each recipe went, by phase of its tasks: CPU and wall seconds, CPU a plane
WITH phases AS (
  SELECT recipe, planes, phases, unnest(json_keys(phases)) AS phase FROM processes WHERE phases IS NOT NULL)
SELECT recipe, phase, count(*) AS processes, sum((phases->phase->>'cpu_s')::DOUBLE) AS cpu_s,
  sum((phases->phase->>'wall_s')::DOUBLE) AS wall_s,
  sum((phases->phase->>'cpu_s')::DOUBLE) / nullif(sum(planes), 0) AS cpu_s_per_plane
FROM phases GROUP BY ALL ORDER BY recipe, cpu_s DESC
