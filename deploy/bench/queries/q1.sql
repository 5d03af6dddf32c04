-- Currency conversion.
CREATE TABLE sink (auction BIGINT, bidder BIGINT, price DOUBLE, dateTime TIMESTAMP(3), extra STRING) WITH (${sink});
INSERT INTO sink SELECT auction, bidder, 0.908 * price AS price, dateTime, extra FROM bid;
