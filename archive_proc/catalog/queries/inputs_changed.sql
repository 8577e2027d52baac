-- inputs_changed: current products that a run would make anew: an input is superseded, gone, quarantined or other than it was
WITH change AS (
  SELECT i.process_id, 'input is ' || CASE WHEN q.product_id IS NULL THEN 'not in the catalog' ELSE q.state END AS change, i.input_id
  FROM process_inputs i LEFT JOIN products q ON q.product_id = i.input_id
  WHERE i.kind = 'product' AND (q.product_id IS NULL OR q.state <> 'ok')
  UNION ALL
  SELECT i.process_id, 'raw file ' || CASE WHEN f.file_id IS NULL THEN 'is not in the catalog'
      WHEN f.state <> 'ok' THEN 'is ' || f.state ELSE 'has another header' END, i.input_id
  FROM process_inputs i LEFT JOIN files f ON f.file_id = i.input_id
  WHERE i.kind = 'file' AND (f.file_id IS NULL OR f.state <> 'ok' OR f.content_id <> i.content_id)
),
gone AS (SELECT process_id, change, count(*) AS inputs, min(input_id) AS first_input FROM change GROUP BY process_id, change)
SELECT p.product_type, p.subject_kind, p.subject_id[:12] AS subject, p.night, gone.change, gone.inputs, gone.first_input, p.product_id
FROM products p JOIN gone USING (process_id)
WHERE p.is_current
UNION ALL
SELECT product_type, subject_kind, subject_id[:12], night, 'the newest run failed to replace it', NULL, NULL, product_id
FROM products WHERE is_stale
ORDER BY ALL
