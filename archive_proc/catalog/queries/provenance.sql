-- provenance: what one product is made from, process by process, down to the names of its raw files
-- parameter product: product id or process id, or the start of one (with or without prod:, proc:)
WITH RECURSIVE asked AS (SELECT regexp_replace($product::VARCHAR, '^(prod|proc):', '') AS start),
up(process_id, depth) AS (
  SELECT p.process_id, 0 FROM processes p, asked
  WHERE starts_with(p.process_id, split_part(asked.start, '.', 1))
  UNION
  SELECT e.src_process_id, up.depth + 1 FROM up JOIN process_edges e USING (process_id)
),
chain AS (SELECT process_id, max(depth) AS depth FROM up GROUP BY process_id)
SELECT chain.depth, p.recipe, p.recipe_version, p.level, 'proc:' || p.process_id[:12] AS process, p.param_hash[:12] AS parameters,
  i.seq, i.role, i.kind, i.input_id AS input, f.frame_type, i.dt_days, i.method
FROM chain JOIN processes p USING (process_id) JOIN process_inputs i USING (process_id)
LEFT JOIN files f ON i.kind = 'file' AND f.file_id = i.input_id
ORDER BY chain.depth, p.recipe, p.process_id, i.seq
