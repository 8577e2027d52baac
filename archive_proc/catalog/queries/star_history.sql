-- star_history: everything observed on one star, with what is current of it
-- parameter name (optional): a name of the star, or the start of one; all stars without it
WITH star AS (
  SELECT DISTINCT target_id FROM target_names
  WHERE $name::VARCHAR IS NULL OR starts_with(name_norm, regexp_replace(lower($name::VARCHAR), '[^0-9a-z]', '', 'g'))
),
made AS (
  SELECT subject_id, list(product_type ORDER BY product_type) AS current_products, bool_or(is_stale) AS stale
  FROM products WHERE is_current AND state = 'ok' GROUP BY subject_id
)
SELECT t.main_id AS star, o.night, o.arm, o.mode, o.inst_filter, o.n_sci_frames, o.dit_s, o.rotation_deg, o.seeing, o.prog_id,
  o.complete, o.reduced, coalesce(made.current_products, []) AS current_products, coalesce(made.stale, false) AS stale,
  'obs:' || o.obs_id[:12] AS obs
FROM star JOIN targets t USING (target_id) JOIN observations o USING (target_id) LEFT JOIN made ON made.subject_id = o.obs_id
ORDER BY t.main_id, o.mjd_start, o.arm, o.obs_id
