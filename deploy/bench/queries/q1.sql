-- Currency conversion.
CREATE TABLE sink (auction BIGINT, bidder BIGINT, price DOUBLE, dateTime TIMESTAMP(3), extra STRING)
WITH ('connector' = 'blackhole');
INSERT INTO sink SELECT auction, bidder, 0.908 * CAST(price AS DOUBLE) AS price, dateTime, extra FROM bid;
