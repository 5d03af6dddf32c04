-- Every column of every event, made and forgotten.
CREATE TABLE sink WITH ('connector' = 'blackhole');
INSERT INTO sink SELECT * FROM nexmark;
