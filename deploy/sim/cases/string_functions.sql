-- Text in and out, with the empty string, non-ASCII text and NULL among the values.
-- stream
SELECT id, UPPER(page) AS a, LOWER(country) AS b, CHAR_LENGTH(page) AS c, SUBSTRING(page FROM 2 FOR 3) AS d,
  page || '?' || country AS e, REPLACE(page, '/', ':') AS f, TRIM(BOTH '/' FROM page) AS g, REVERSE(page) AS h
FROM clicks;
-- batch
SELECT id, upper(page), lower(country), character_length(page), substr(page, 2, 3),
  page || '?' || country, replace(page, '/', ':'), btrim(page, '/'), reverse(page)
FROM clicks
