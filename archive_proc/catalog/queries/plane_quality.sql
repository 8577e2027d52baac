-- plane_quality: planes of an observation, a row a plane and half: figures of its current tracks and science cube together
-- parameter obs: observation, obs:<id> or any start of the id
WITH wanted AS (
  SELECT q.* FROM plane_qc q JOIN processes p USING (process_id)
  WHERE p.is_current AND starts_with(q.subject_id, regexp_replace($obs::VARCHAR, '^obs:', ''))
)
SELECT file_id, plane, channel, any_value(frame_type) AS frame_type, min(time) AS time, bool_and(usable) AS usable,
  CASE WHEN bool_or(verdict = 'refuse') THEN 'refuse' WHEN bool_or(verdict = 'warn') THEN 'warn' ELSE min(verdict) END AS verdict,
  string_agg(beyond, ' ') AS beyond,
  any_value(background_level) AS background_level, any_value(background_chi2) AS background_chi2,
  any_value(center_error) AS center_error, any_value(center_closure) AS center_closure, any_value(center_jump) AS center_jump,
  any_value(relative_flux) AS relative_flux, any_value(relative_flux_error) AS relative_flux_error, any_value(star_flux) AS star_flux,
  any_value(filled_pixels) AS filled_pixels, any_value(cosmic_pixels) AS cosmic_pixels,
  any_value(saturated_pixels) AS saturated_pixels, any_value(nonlinear_pixels) AS nonlinear_pixels,
  any_value(noise_ratio) AS noise_ratio, any_value(smear) AS smear
FROM wanted GROUP BY subject_id, file_id, plane, channel ORDER BY time, channel
