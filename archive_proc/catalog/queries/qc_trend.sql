-- qc_trend: one figure of current products over nights, each against the thirty before it of the same filter and DIT
-- parameter metric: figure, such as typical_noise or slope_left (`qc_summary` lists them)
-- parameter product_type (optional): type of product; all that have the figure without it
-- parameter inst_filter (optional): filter, INS COMB IFLT; all filters without it
WITH shown AS (
  SELECT q.night, q.product_type, q.inst_filter, q.dit_s, q.value, q.unit, q.verdict, q.threshold, q.subject_id, q.product_id
  FROM qc q JOIN processes p USING (process_id)
  WHERE q.metric = $metric::VARCHAR AND p.is_current
    AND ($product_type::VARCHAR IS NULL OR q.product_type = $product_type::VARCHAR)
    AND ($inst_filter::VARCHAR IS NULL OR q.inst_filter = $inst_filter::VARCHAR)
),
history AS (
  SELECT *, median(value) OVER before AS history, mad(value) OVER before AS spread, count(value) OVER before AS n_history
  FROM shown
  WINDOW before AS (
    -- A dark sees no filter, whatever stands in the beam.
    PARTITION BY product_type, CASE WHEN product_type <> 'dark' THEN inst_filter END, round(dit_s, 3) ORDER BY night, product_id ROWS BETWEEN 30 PRECEDING AND 1 PRECEDING
  )
)
SELECT product_type, inst_filter, dit_s, night, value, unit, verdict, threshold, history, value - history AS from_history,
  CASE WHEN n_history >= 5 AND spread > 0 THEN (value - history) / (1.4826 * spread) END AS sigmas, n_history,
  subject_id[:12] AS subject, 'prod:' || product_id[:12] || '.' || product_type AS product
FROM history ORDER BY product_type, inst_filter, dit_s, night, product_id
