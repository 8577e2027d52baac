-- processes_by_version: how many processes each version of each recipe made, and how many of these are current
SELECT p.recipe, p.recipe_version, coalesce(r.is_latest, false) AS latest, count(*) FILTER (p.state = 'done') AS done,
  count(*) FILTER (p.is_current) AS current, count(*) FILTER (p.state = 'failed') AS failed, count(DISTINCT p.param_hash) AS parameter_sets,
  min(p.committed_at) AS first_made, max(p.committed_at) AS last_made
FROM processes p LEFT JOIN recipes r ON r.recipe = p.recipe AND r.version = p.recipe_version
GROUP BY ALL ORDER BY p.recipe, p.recipe_version
