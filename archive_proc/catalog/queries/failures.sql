-- failures: processes that failed, root causes first, with what each keeps waiting
WITH RECURSIVE below(root, process_id) AS (
  SELECT process_id, process_id FROM processes WHERE state = 'failed'
  UNION
  SELECT below.root, e.process_id FROM below JOIN process_edges e ON e.src_process_id = below.process_id JOIN processes p ON p.process_id = e.process_id
  WHERE p.state = 'blocked' AND p.superseded_by IS NULL
),
waiting AS (SELECT root, count(*) - 1 AS blocked FROM below GROUP BY root)
SELECT p.recipe, p.recipe_version, p.cause, p.code, p.message, w.blocked, p.subject_kind, p.subject_id[:12] AS subject, p.night,
  'proc:' || p.process_id[:12] AS process, p.run_id
FROM processes p JOIN waiting w ON w.root = p.process_id
ORDER BY w.blocked DESC, p.recipe, p.process_id
