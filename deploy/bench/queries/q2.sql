-- Selection.
CREATE TABLE sink (auction BIGINT, price BIGINT) WITH (${sink});
INSERT INTO sink SELECT auction, price FROM bid WHERE auction % 123 = 0;
