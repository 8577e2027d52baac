-- open_issues: issues nobody has closed, blocking ones first
-- parameter code (optional): error code, or the start of one, AP-CAL
SELECT severity, code, count(*) OVER (PARTITION BY code) AS n, subject_kind, subject_id, message, remedy, origin, issue_id[:12] AS issue
FROM issues WHERE state = 'open' AND ($code::VARCHAR IS NULL OR starts_with(code, $code::VARCHAR))
ORDER BY severity <> 'blocking', severity <> 'warning', code, subject_id, issue_id
