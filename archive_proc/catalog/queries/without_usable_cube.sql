-- without_usable_cube: observations that ought to have a centred cube and have none, with the reason
-- parameter period (optional): ESO period, a number; all periods without it
WITH cube AS (
  SELECT DISTINCT subject_id FROM products
  WHERE is_current AND state = 'ok' AND product_type IN ('irdis_centered_cube', 'ifs_centered_cube')
),
failed AS (
  SELECT subject_id, arg_min(recipe || ' ' || state || ': ' || coalesce(code, coalesce(message, '')), (state <> 'failed', process_id)) AS why
  FROM processes WHERE state IN ('failed', 'blocked', 'lost', 'cancelled') AND superseded_by IS NULL
    AND subject_kind = 'observation' GROUP BY subject_id
),
complaint AS (
  SELECT obs_id, string_agg(DISTINCT code, ' ' ORDER BY code) AS codes FROM issues WHERE state = 'open' AND severity = 'blocking' GROUP BY obs_id
)
SELECT 'obs:' || o.obs_id[:12] AS obs, o.night, o.arm, o.inst_filter, coalesce(t.main_id, o.object_raw) AS star, o.n_sci_frames,
  coalesce(failed.why, complaint.codes, 'not run') AS reason
FROM observations o LEFT JOIN targets t USING (target_id) LEFT JOIN failed ON failed.subject_id = o.obs_id LEFT JOIN complaint USING (obs_id)
WHERE o.reduced AND ($period::INTEGER IS NULL OR o.period_date = $period::INTEGER)
  AND o.obs_id NOT IN (SELECT subject_id FROM cube)
ORDER BY o.mjd_start, o.arm, o.obs_id
