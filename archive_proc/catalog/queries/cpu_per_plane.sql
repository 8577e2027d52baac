-- cpu_per_plane: CPU seconds a plane by recipe and version, measured and predicted
WITH predicted AS (SELECT process_id, max(predicted_cpu_s) AS cpu_s FROM plan_processes GROUP BY process_id)
SELECT p.recipe, p.recipe_version, count(*) AS processes, sum(p.planes) AS planes, sum(p.cpu_s) AS cpu_s,
  sum(p.cpu_s) / nullif(sum(p.planes), 0) AS cpu_s_per_plane, sum(predicted.cpu_s) / nullif(sum(p.planes), 0) AS predicted_per_plane,
  quantile_cont(p.cpu_s / nullif(p.planes, 0), 0.95) AS p95, max(p.max_rss_mb) AS max_rss_mb
FROM processes p LEFT JOIN predicted USING (process_id)
WHERE p.state = 'done' GROUP BY ALL ORDER BY cpu_s DESC, p.recipe, p.recipe_version
