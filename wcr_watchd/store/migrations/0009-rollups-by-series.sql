-- Rows of rollups are packed series by series from now on. Those packed before are made again from what is still there.
DELETE FROM rollup;

INSERT INTO rollup_due (width, start, source_id)
SELECT DISTINCT 300000, slot / 3600000 * 3600000, source_id FROM observation WHERE true
ON CONFLICT (width, start, source_id) DO NOTHING;
