-- Bids per auction, every ten seconds: the plainest keyed window.
CREATE TABLE counts (auction BIGINT, bids BIGINT, starttime TIMESTAMP(3)) WITH (${sink});
INSERT INTO counts
SELECT auction, COUNT(*), window_start
FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(dateTime), INTERVAL '10' SECOND))
GROUP BY auction, window_start, window_end;
