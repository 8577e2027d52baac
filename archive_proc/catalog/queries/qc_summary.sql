-- qc_summary: every figure of current products: how many, their range, how many beyond a limit
-- parameter product_type (optional): type of product; all types without it
SELECT q.product_type, q.metric, any_value(q.unit) AS unit, count(*) AS n, count(q.value) AS measured, min(q.value) AS lowest,
  median(q.value) AS median, max(q.value) AS highest, count(*) FILTER (q.verdict = 'warn') AS warned,
  count(*) FILTER (q.verdict = 'refuse') AS refused, count(*) FILTER (q.verdict IN ('warn', 'refuse')) AS beyond,
  any_value(l.meaning) AS meaning
FROM qc q JOIN processes p USING (process_id)
LEFT JOIN (SELECT DISTINCT product_type, metric, meaning FROM qc_limits WHERE of = 'product') l USING (product_type, metric)
WHERE p.is_current AND ($product_type::VARCHAR IS NULL OR q.product_type = $product_type::VARCHAR)
GROUP BY q.product_type, q.metric ORDER BY beyond DESC, q.product_type, q.metric
