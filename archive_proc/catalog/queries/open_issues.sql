-- open_issues: issues nobody has closed, blocking ones first
-- parameter code (optional): error code, or the start of one, AP-CAL
SELECT severity, code, count(*) OVER (PARTITION BY code) AS n, subject_kind, subject_id, message, remedy, origin, issue_id[:12] AS issue
FROM issues LEFT JOIN (SELECT process_id, superseded_by FROM processes) USING (process_id)
-- What is said of the quality of a process holds while its products are current.
WHERE state = 'open' AND (origin <> 'quality' OR superseded_by IS NULL) AND ($code::VARCHAR IS NULL OR starts_with(code, $code::VARCHAR))
ORDER BY severity <> 'blocking', severity <> 'warning', code, subject_id, issue_id
