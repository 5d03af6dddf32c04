-- Highest bid of each ten seconds, joined back to the bids within the window.
CREATE TABLE sink (auction BIGINT, price BIGINT, bidder BIGINT, dateTime TIMESTAMP(3), extra STRING) WITH (${sink});
INSERT INTO sink
SELECT B.auction, B.price, B.bidder, B.dateTime, B.extra
FROM (
  SELECT auction, price, bidder, dateTime, extra, window_start, window_end
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
) AS B
JOIN (
  SELECT MAX(price) AS maxprice, window_start, window_end
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end
) AS M
ON B.window_start = M.window_start AND B.window_end = M.window_end AND B.price = M.maxprice;
