-- Products of decimals and integers are exact.
-- stream
SELECT id, symbol, price * quantity AS amount, price - 0.01 AS below FROM trades WHERE price > 100.50;
-- batch
SELECT id, symbol, price * quantity, price - 0.01 FROM trades WHERE price > 100.50
