-- qc_outliers: figures of current products, and of refused attempts, beyond a limit: worst verdict and newest night first
-- parameter product_type (optional): type of product, such as dark or psf; all types without it
-- parameter night (optional): night, YYYY-MM-DD; all nights without it
SELECT q.verdict, q.night, q.product_type, q.metric, q.value, q.unit,
  CASE q.side WHEN 1 THEN '> ' WHEN -1 THEN '< ' ELSE '' END || format('{:g}', q.threshold) AS beyond,
  q.inst_filter, q.dit_s, p.state, p.recipe || ' ' || q.qc_version AS recipe,
  CASE p.subject_kind WHEN 'observation' THEN 'obs:' WHEN 'group' THEN 'group:' ELSE '' END || p.subject_id[:12] AS subject,
  'proc:' || q.process_id[:12] AS process, q.limits_version
FROM qc q JOIN processes p USING (process_id)
WHERE q.verdict IN ('warn', 'refuse') AND (p.is_current OR p.state = 'failed')
  AND ($product_type::VARCHAR IS NULL OR q.product_type = $product_type::VARCHAR)
  AND ($night::DATE IS NULL OR q.night = $night::DATE)
ORDER BY q.verdict <> 'refuse', q.night DESC, q.product_type, q.metric, q.product_id
