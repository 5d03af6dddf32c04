-- Two tables in one stream; equal rows stay.
-- stream
SELECT id, user_id AS who, page AS what FROM clicks WHERE user_id < 5
UNION ALL
SELECT id, bidder AS who, channel AS what FROM bids WHERE price > 500
UNION ALL
SELECT id, user_id AS who, page AS what FROM clicks WHERE user_id < 3;
-- batch
SELECT id, user_id, page FROM clicks WHERE user_id < 5
UNION ALL SELECT id, bidder, channel FROM bids WHERE price > 500
UNION ALL SELECT id, user_id, page FROM clicks WHERE user_id < 3
