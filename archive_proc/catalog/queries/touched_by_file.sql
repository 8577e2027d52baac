-- touched_by_file: every process and product that one raw file went into, over all steps
-- parameter file: file id, or the start of one, SPHER.2015-09-25T08:46:06.875
WITH RECURSIVE hit(process_id, steps) AS (
  SELECT DISTINCT process_id, 0 FROM process_inputs WHERE kind = 'file' AND starts_with(input_id, $file::VARCHAR)
  UNION
  SELECT e.process_id, hit.steps + 1 FROM hit JOIN process_edges e ON e.src_process_id = hit.process_id
),
near AS (SELECT process_id, min(steps) AS steps FROM hit GROUP BY process_id)
SELECT near.steps, p.recipe, p.recipe_version, p.subject_kind, p.subject_id[:12] AS subject, p.state, 'proc:' || p.process_id[:12] AS process,
  q.product_type, q.is_current, q.size_bytes
FROM near JOIN processes p USING (process_id) LEFT JOIN products q USING (process_id)
ORDER BY near.steps, p.recipe, p.process_id, q.product_type
