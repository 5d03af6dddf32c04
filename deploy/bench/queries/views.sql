CREATE VIEW person AS
SELECT person.id AS id, person.name AS name, person.city AS city, person.state AS state, dateTime FROM nexmark WHERE event_type = 0;
CREATE VIEW auction AS
SELECT auction.id AS id, auction.seller AS seller, auction.category AS category, dateTime FROM nexmark WHERE event_type = 1;
CREATE VIEW bid AS
SELECT bid.auction AS auction, bid.bidder AS bidder, bid.price AS price, bid.channel AS channel, bid.url AS url, dateTime, bid.extra AS extra
FROM nexmark WHERE event_type = 2;
