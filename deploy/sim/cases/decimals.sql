-- Products of decimals and integers are exact, and a literal with a point is a decimal.
-- stream
SELECT id, symbol, price * quantity AS amount, price - 0.01 AS below FROM trades WHERE price > 100.50;
-- batch
SELECT id, symbol, price * quantity, price - CAST(0.01 AS DECIMAL(3, 2)) FROM trades WHERE price > 100.50
