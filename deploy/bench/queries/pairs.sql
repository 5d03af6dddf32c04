-- Bids per auction and bidder, every hour: a row of state for almost every bid.
SET 'state.memory-share' = '0.9';
CREATE TABLE pairs (auction BIGINT, bidder BIGINT, bids BIGINT, highest BIGINT, starttime TIMESTAMP(3)) WITH (${sink});
INSERT INTO pairs
SELECT auction, bidder, COUNT(*), MAX(price), window_start
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '1' HOUR))
GROUP BY auction, bidder, window_start, window_end;
