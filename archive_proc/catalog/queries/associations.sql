-- associations: calibrations chosen for the frames of one observation, with level and distance
-- parameter obs: observation id, or the start of one (with or without obs:)
SELECT DISTINCT a.role, a.selector, c.frame_type AS consumer, g.frame_type AS calibration, g.night AS calibration_night, a.level, a.dt_days,
  a.method, a.n_candidates, a.pinned, a.rule_id, 'group:' || a.calib_group_id[:12] AS calibration_group
FROM observation_files o JOIN associations a ON a.consumer_group_id = o.group_id
LEFT JOIN groups c ON c.group_id = a.consumer_group_id LEFT JOIN groups g ON g.group_id = a.calib_group_id
WHERE starts_with(o.obs_id, regexp_replace($obs::VARCHAR, '^obs:', ''))
ORDER BY a.role, a.selector, abs(a.dt_days), calibration_group
