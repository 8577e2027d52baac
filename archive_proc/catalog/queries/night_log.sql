-- night_log: raw files of one night by type and setup
-- parameter night: night, YYYY-MM-DD (date of UTC - 16 h)
SELECT arm, dpr_catg, dpr_type, frame_type, inst_filter, ifs_comb, dit_s, count(*) AS files, sum(coalesce(naxis3, 1)) AS planes,
  round(sum(size_bytes) / 1e6, 1) AS mb, min(date_obs) AS first_start, max(date_obs) AS last_start
FROM files WHERE night = $night::DATE
GROUP BY ALL ORDER BY arm, dpr_catg DESC, dpr_type, inst_filter, dit_s
