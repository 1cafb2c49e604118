//! What the sample API knows: the rows of one shop, how they hang together, and which change touched which URL.
//!
//! Every change has a number. The number of the last change that touched a URL is that URL's version, and it travels in
//! the response, so whoever reads one can tell which state of the shop it shows.

use super::seeded::Seeded;
use crate::clock::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

pub const PRODUCTS: u32 = 5_000;
pub const CATEGORIES: u32 = 40;
pub const BRANDS: u32 = 60;
pub const UNITS: u32 = 20;

/// How many rows the lists of sales and purchases show: the newest ones.
const NEWEST: usize = 50;

/// One shop, in memory.
#[derive(Debug)]
pub struct Shop {
    products: BTreeMap<u32, Product>,
    labels: [BTreeMap<u32, Label>; 3],
    /// By product.
    stock: BTreeMap<u32, Stock>,
    sales: Vec<Receipt>,
    purchases: Vec<Receipt>,
    /// For each change, the paths whose content it touched; change `n` stands at `n - 1`.
    changes: Vec<Vec<String>>,
    /// For each path that was ever touched, the last change that did.
    versions: HashMap<String, u64>,
    /// JSON of what was asked since it was last touched.
    rendered: HashMap<String, Content>,
}

/// What a path shows now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// JSON.
    pub data: Bytes,
    /// How many rows there are in all, where it is a list.
    pub total: Option<usize>,
    /// The last change that touched it; zero since opening.
    pub version: u64,
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub status: u16,
    /// The path of the row that was created.
    pub location: Option<String>,
    /// The row, as JSON; `null` once deleted.
    pub data: Bytes,
    /// The number of this change.
    pub version: u64,
}

/// Why a request changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    NotFound,
    MethodNotAllowed,
    /// The body is not what this path takes, and why.
    Unprocessable(String),
}

/// The three tables of names that products point at.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Category,
    Brand,
    Unit,
}

impl Kind {
    fn of(table: &str) -> Option<Kind> {
        match table {
            "categories" => Some(Kind::Category),
            "brands" => Some(Kind::Brand),
            "units" => Some(Kind::Unit),
            _ => None,
        }
    }

    fn table(self) -> &'static str {
        match self {
            Kind::Category => "categories",
            Kind::Brand => "brands",
            Kind::Unit => "units",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Label {
    id: u32,
    name: String,
    created_at: String,
    updated_at: String,
}

#[derive(Clone, Debug)]
struct Product {
    id: u32,
    name: String,
    price_cents: u64,
    /// By [`Kind`].
    labels: [u32; 3],
    created_at: String,
    updated_at: String,
}

#[derive(Clone, Debug, Serialize)]
struct Stock {
    product_id: u32,
    quantity: i64,
    updated_at: String,
}

/// A sale or a purchase.
#[derive(Clone, Debug, Serialize)]
struct Receipt {
    id: usize,
    items: Vec<Item>,
    total_cents: u64,
    created_at: String,
    updated_at: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Item {
    product_id: u32,
    quantity: u32,
}

#[derive(Deserialize)]
struct NewReceipt {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Adjustment {
    delta: i32,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// A row of `/products`, with the names it hangs on.
#[derive(Serialize)]
struct ProductRow<'s> {
    id: u32,
    sku: String,
    barcode: String,
    name: &'s str,
    description: String,
    category_id: u32,
    category_name: Option<&'s str>,
    brand_id: u32,
    brand_name: Option<&'s str>,
    unit_id: u32,
    unit_name: Option<&'s str>,
    price_cents: u64,
    cost_cents: u64,
    tax_rate: &'static str,
    reorder_level: u32,
    image_url: String,
    is_active: bool,
    created_at: &'s str,
    updated_at: &'s str,
}

#[derive(Serialize)]
struct VariantRow<'s> {
    id: u32,
    product_id: u32,
    name: String,
    sku: String,
    updated_at: &'s str,
}

#[derive(Serialize)]
struct Report {
    sales: usize,
    items_sold: u64,
    revenue_cents: u64,
    updated_at: String,
}

impl Shop {
    /// A shop as it opens: the same for the same `seed` and `now`.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let mut seeded = Seeded::new(seed);
        let opened = date_time(now);
        let mut labels = |kind: Kind, count: u32| -> BTreeMap<u32, Label> {
            (1..=count)
                .map(|id| {
                    let name = format!("{} {id:02}", pick(&mut seeded, kind.words()));
                    (id, Label { id, name, created_at: opened.clone(), updated_at: opened.clone() })
                })
                .collect()
        };
        let labels = [labels(Kind::Category, CATEGORIES), labels(Kind::Brand, BRANDS), labels(Kind::Unit, UNITS)];
        let products = (1..=PRODUCTS)
            .map(|id| {
                let name = format!("{} {}", pick(&mut seeded, &QUALITIES), pick(&mut seeded, &GOODS));
                let mut one_of = |count: u32| 1 + small(seeded.below(count.into()));
                let labels = [one_of(CATEGORIES), one_of(BRANDS), one_of(UNITS)];
                let price_cents = 50 + u64::from(one_of(20_000));
                let (created_at, updated_at) = (opened.clone(), opened.clone());
                (id, Product { id, name, price_cents, labels, created_at, updated_at })
            })
            .collect();
        let stock = (1..=PRODUCTS)
            .map(|id| {
                let quantity = i64::from(small(seeded.below(500)));
                (id, Stock { product_id: id, quantity, updated_at: opened.clone() })
            })
            .collect();
        Shop {
            products,
            labels,
            stock,
            sales: Vec::new(),
            purchases: Vec::new(),
            changes: Vec::new(),
            versions: HashMap::new(),
            rendered: HashMap::new(),
        }
    }

    /// The paths that change `version` touched; none if there was no such change.
    pub fn touched(&self, version: u64) -> &[String] {
        version
            .checked_sub(1)
            .and_then(|index| self.changes.get(usize::try_from(index).ok()?))
            .map_or(&[], |paths| paths.as_slice())
    }

    /// What `path` shows; `None` where there is nothing.
    pub fn read(&mut self, path: &str) -> Option<Content> {
        if let Some(content) = self.rendered.get(path) {
            return Some(content.clone());
        }
        let (data, total) = self.render(path)?;
        let version = self.versions.get(path).copied().unwrap_or(0);
        let content = Content { data: data.into(), total, version };
        self.rendered.insert(path.to_owned(), content.clone());
        Some(content)
    }

    /// Carries out a change.
    ///
    /// # Errors
    /// Nothing was changed.
    pub fn write(&mut self, method: &str, path: &str, body: &[u8], now: Timestamp) -> Result<Written, Refusal> {
        let at = date_time(now);
        let segments = segments(path);
        if let [table, rest @ ..] = segments.as_slice()
            && let Some(kind) = Kind::of(table)
        {
            return match (method, rest) {
                ("POST", []) => self.add_label(kind, read_json(body)?, at),
                ("PUT" | "PATCH", [id]) => self.rename_label(kind, id, read_json(body)?, at),
                ("DELETE", [id]) => self.delete_label(kind, id),
                _ => Err(self.no_such_method(path)),
            };
        }
        match (method, segments.as_slice()) {
            ("POST", ["sales"]) => self.sell(read_json(body)?, at),
            ("POST", ["purchases"]) => self.purchase(read_json(body)?, at),
            ("POST", ["products", id, "adjust"]) => self.adjust(id, &read_json(body)?, at),
            ("PUT" | "PATCH", ["products", id]) => self.rename_product(id, read_json(body)?, at),
            _ => Err(self.no_such_method(path)),
        }
    }

    fn no_such_method(&mut self, path: &str) -> Refusal {
        if self.read(path).is_some() { Refusal::MethodNotAllowed } else { Refusal::NotFound }
    }

    fn sell(&mut self, new: NewReceipt, at: String) -> Result<Written, Refusal> {
        let mut touched = self.move_stock(&new.items, -1, &at)?;
        let receipt = self.receipt(self.sales.len(), new.items, at);
        let data = json(&receipt);
        let location = format!("/sales/{}", receipt.id);
        self.sales.push(receipt);
        touched.extend(["/sales".into(), location.clone(), "/reports/daily".into()]);
        Ok(Written { status: 201, location: Some(location), data, version: self.touch(touched) })
    }

    fn purchase(&mut self, new: NewReceipt, at: String) -> Result<Written, Refusal> {
        let mut touched = self.move_stock(&new.items, 1, &at)?;
        let receipt = self.receipt(self.purchases.len(), new.items, at);
        let data = json(&receipt);
        let location = format!("/purchases/{}", receipt.id);
        self.purchases.push(receipt);
        touched.extend(["/purchases".into(), location.clone()]);
        Ok(Written { status: 201, location: Some(location), data, version: self.touch(touched) })
    }

    fn adjust(&mut self, id: &str, adjustment: &Adjustment, at: String) -> Result<Written, Refusal> {
        let stock = id.parse().ok().and_then(|id: u32| self.stock.get_mut(&id)).ok_or(Refusal::NotFound)?;
        stock.quantity += i64::from(adjustment.delta);
        stock.updated_at = at;
        let data = json(&*stock);
        let touched = vec!["/stock".into(), format!("/stock/{}", stock.product_id)];
        Ok(Written { status: 200, location: None, data, version: self.touch(touched) })
    }

    fn rename_product(&mut self, id: &str, new: Named, at: String) -> Result<Written, Refusal> {
        let product = id.parse().ok().and_then(|id: u32| self.products.get_mut(&id)).ok_or(Refusal::NotFound)?;
        product.name = new.name;
        product.updated_at = at;
        let id = product.id;
        let data = json(&self.product_row(&self.products[&id]));
        let touched = vec!["/products".into(), format!("/products/{id}"), format!("/products/{id}/variants")];
        Ok(Written { status: 200, location: None, data, version: self.touch(touched) })
    }

    fn add_label(&mut self, kind: Kind, new: Named, at: String) -> Result<Written, Refusal> {
        let labels = &mut self.labels[kind as usize];
        let id = labels.last_key_value().map_or(1, |(last, _)| last + 1);
        let label = Label { id, name: new.name, created_at: at.clone(), updated_at: at };
        let data = json(&label);
        labels.insert(id, label);
        let (list, location) = (format!("/{}", kind.table()), format!("/{}/{id}", kind.table()));
        let version = self.touch(vec![list, location.clone()]);
        Ok(Written { status: 201, location: Some(location), data, version })
    }

    fn rename_label(&mut self, kind: Kind, id: &str, new: Named, at: String) -> Result<Written, Refusal> {
        let id: u32 = id.parse().map_err(|_| Refusal::NotFound)?;
        let label = self.labels[kind as usize].get_mut(&id).ok_or(Refusal::NotFound)?;
        label.name = new.name;
        label.updated_at = at;
        let data = json(&*label);
        let touched = self.shown_with(kind, id);
        Ok(Written { status: 200, location: None, data, version: self.touch(touched) })
    }

    fn delete_label(&mut self, kind: Kind, id: &str) -> Result<Written, Refusal> {
        let id: u32 = id.parse().map_err(|_| Refusal::NotFound)?;
        self.labels[kind as usize].remove(&id).ok_or(Refusal::NotFound)?;
        let touched = self.shown_with(kind, id);
        Ok(Written { status: 200, location: None, data: Bytes::from_static(b"null"), version: self.touch(touched) })
    }

    /// Every path that shows the name of a category, brand or unit: its own, its table's, and those of its products.
    fn shown_with(&self, kind: Kind, id: u32) -> Vec<String> {
        let products = self.products.values().filter(|product| product.labels[kind as usize] == id);
        let items = products.map(|product| format!("/products/{}", product.id));
        let lists = [format!("/{}", kind.table()), format!("/{}/{id}", kind.table()), "/products".into()];
        lists.into_iter().chain(items).collect()
    }

    /// Takes the items out of stock or puts them in; all or none.
    fn move_stock(&mut self, items: &[Item], sign: i64, at: &str) -> Result<Vec<String>, Refusal> {
        if items.is_empty() {
            return Err(Refusal::Unprocessable("items must not be empty".into()));
        }
        if let Some(unknown) = items.iter().find(|item| !self.stock.contains_key(&item.product_id)) {
            return Err(Refusal::Unprocessable(format!("no product {}", unknown.product_id)));
        }
        let mut touched = vec!["/stock".to_owned()];
        for item in items {
            let stock = self.stock.get_mut(&item.product_id).expect("looked up above");
            stock.quantity += sign * i64::from(item.quantity);
            at.clone_into(&mut stock.updated_at);
            touched.push(format!("/stock/{}", item.product_id));
        }
        Ok(touched)
    }

    fn receipt(&self, already: usize, items: Vec<Item>, at: String) -> Receipt {
        let total_cents = items.iter().map(|i| self.products[&i.product_id].price_cents * u64::from(i.quantity)).sum();
        Receipt { id: already + 1, items, total_cents, created_at: at.clone(), updated_at: at }
    }

    /// Numbers a change and remembers what it touched.
    fn touch(&mut self, paths: Vec<String>) -> u64 {
        let version = self.changes.len() as u64 + 1;
        for path in &paths {
            self.versions.insert(path.clone(), version);
            self.rendered.remove(path);
        }
        self.changes.push(paths);
        version
    }

    /// JSON of what `path` shows, and the number of rows where that is a list.
    fn render(&self, path: &str) -> Option<(Vec<u8>, Option<usize>)> {
        let list = |rows: Vec<u8>, total: usize| Some((rows, Some(total)));
        match segments(path).as_slice() {
            ["products"] => {
                let rows: Vec<_> = self.products.values().map(|product| self.product_row(product)).collect();
                list(json_vec(&rows), rows.len())
            }
            ["products", id] => Some((json_vec(&self.product_row(self.products.get(&id.parse().ok()?)?)), None)),
            ["products", id, "variants"] => {
                let rows = variant_rows(self.products.get(&id.parse().ok()?)?);
                list(json_vec(&rows), rows.len())
            }
            ["stock"] => list(json_vec(&self.stock.values().collect::<Vec<_>>()), self.stock.len()),
            ["stock", id] => Some((json_vec(self.stock.get(&id.parse().ok()?)?), None)),
            ["sales"] => list(json_vec(&newest(&self.sales)), self.sales.len()),
            ["sales", id] => Some((json_vec(numbered(&self.sales, id)?), None)),
            ["purchases"] => list(json_vec(&newest(&self.purchases)), self.purchases.len()),
            ["purchases", id] => Some((json_vec(numbered(&self.purchases, id)?), None)),
            ["reports", "daily"] => Some((json_vec(&self.report()), None)),
            [table] => {
                let labels = &self.labels[Kind::of(table)? as usize];
                list(json_vec(&labels.values().collect::<Vec<_>>()), labels.len())
            }
            [table, id] => Some((json_vec(self.labels[Kind::of(table)? as usize].get(&id.parse().ok()?)?), None)),
            _ => None,
        }
    }

    fn product_row<'s>(&'s self, product: &'s Product) -> ProductRow<'s> {
        let id = product.id;
        let [category_id, brand_id, unit_id] = product.labels;
        let name = |kind: Kind, id: u32| self.labels[kind as usize].get(&id).map(|label| label.name.as_str());
        ProductRow {
            id,
            sku: format!("SKU-{id:06}"),
            barcode: format!("400{id:09}"),
            name: &product.name,
            description: format!("{}, as sold by the piece; keep dry and away from direct sunlight.", product.name),
            category_id,
            category_name: name(Kind::Category, category_id),
            brand_id,
            brand_name: name(Kind::Brand, brand_id),
            unit_id,
            unit_name: name(Kind::Unit, unit_id),
            price_cents: product.price_cents,
            cost_cents: product.price_cents * 7 / 10,
            tax_rate: "0.19",
            reorder_level: 10,
            image_url: format!("https://images.shop.example/products/{id}/front-640x480.webp"),
            is_active: true,
            created_at: &product.created_at,
            updated_at: &product.updated_at,
        }
    }

    fn report(&self) -> Report {
        let items = self.sales.iter().flat_map(|sale| &sale.items);
        Report {
            sales: self.sales.len(),
            items_sold: items.map(|item| u64::from(item.quantity)).sum(),
            revenue_cents: self.sales.iter().map(|sale| sale.total_cents).sum(),
            updated_at: self.sales.last().map_or_else(String::new, |sale| sale.updated_at.clone()),
        }
    }
}

fn variant_rows(product: &Product) -> Vec<VariantRow<'_>> {
    ["small", "medium", "large"]
        .into_iter()
        .zip(0..)
        .map(|(size, n)| VariantRow {
            id: product.id * 10 + n,
            product_id: product.id,
            name: format!("{}, {size}", product.name),
            sku: format!("SKU-{:06}-{n}", product.id),
            updated_at: &product.updated_at,
        })
        .collect()
}

/// The newest first.
fn newest(receipts: &[Receipt]) -> Vec<&Receipt> {
    receipts.iter().rev().take(NEWEST).collect()
}

fn numbered<'r>(receipts: &'r [Receipt], id: &str) -> Option<&'r Receipt> {
    receipts.get(id.parse::<usize>().ok()?.checked_sub(1)?)
}

fn segments(path: &str) -> Vec<&str> {
    path.trim_start_matches('/').split('/').collect()
}

/// RFC 3339 with milliseconds, so that every one has the same length.
pub fn date_time(now: Timestamp) -> String {
    let at = jiff::Timestamp::from_millisecond(now.wall_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{at:.3}")
}

fn read_json<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Unprocessable(error.to_string()))
}

fn json(value: &impl Serialize) -> Bytes {
    json_vec(value).into()
}

fn json_vec(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    serde_json::to_vec(value).expect("rows have string keys and finite numbers")
}

fn small(n: u64) -> u32 {
    u32::try_from(n).expect("drawn below a u32")
}

fn pick<'w>(seeded: &mut Seeded, words: &'w [&'w str]) -> &'w str {
    words[small(seeded.below(words.len() as u64)) as usize]
}

impl Kind {
    fn words(self) -> &'static [&'static str] {
        match self {
            Kind::Category => &["Drinks", "Bakery", "Dairy", "Fruit", "Household", "Snacks", "Frozen", "Stationery"],
            Kind::Brand => &["Alder", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Larch", "Maple", "Oak", "Rowan"],
            Kind::Unit => &["Piece", "Box", "Bag", "Bottle", "Kilogram", "Litre"],
        }
    }
}

const QUALITIES: [&str; 8] = ["Fresh", "Organic", "Classic", "Light", "Imported", "Family", "Premium", "Everyday"];
const GOODS: [&str; 10] =
    ["Coffee", "Bread", "Yoghurt", "Apples", "Soap", "Crackers", "Peas", "Notebooks", "Tea", "Juice"];

#[cfg(test)]
mod tests {
    use super::*;

    const OPENED: Timestamp = Timestamp { wall_ms: 1_700_000_000_000, boot_ms: 0 };

    const LISTS: [&str; 8] =
        ["/products", "/stock", "/categories", "/brands", "/units", "/sales", "/purchases", "/reports/daily"];

    /// Enough paths that every kind of response is among them.
    fn paths() -> Vec<String> {
        let items = LISTS.iter().flat_map(|list| (1..=60).map(move |id| format!("{list}/{id}")));
        let variants = (1..=60).map(|id| format!("/products/{id}/variants"));
        LISTS.iter().map(|&list| list.to_owned()).chain(items).chain(variants).collect()
    }

    fn contents(shop: &mut Shop) -> BTreeMap<String, Content> {
        paths().into_iter().filter_map(|path| shop.read(&path).map(|content| (path, content))).collect()
    }

    /// Everything rests on this: a path's version changes exactly when what it shows does.
    #[track_caller]
    fn check_write(method: &str, path: &str, body: &str, lists: &[&str]) {
        let mut shop = Shop::new(1, OPENED);
        let before = contents(&mut shop);
        let later = OPENED + std::time::Duration::from_secs(60);
        let written = shop.write(method, path, body.as_bytes(), later).expect("a change that can be made");
        let after = contents(&mut shop);

        for path in paths() {
            let (before, after) = (before.get(&path), after.get(&path));
            let told = shop.touched(written.version).contains(&path);
            assert_eq!(before.map(|c| &c.data) != after.map(|c| &c.data), told, "{path}");
            if let (true, Some(after)) = (told, after) {
                assert_eq!(after.version, written.version, "{path}");
            }
        }
        let touched = shop.touched(written.version);
        let shown: Vec<_> = LISTS.into_iter().filter(|list| touched.iter().any(|path| path == list)).collect();
        assert_eq!(shown, lists, "{method} {path}");
    }

    #[test]
    fn a_sale_shows_in_stock_sales_and_report() {
        let body = r#"{"items":[{"product_id":5,"quantity":2},{"product_id":9,"quantity":1}]}"#;
        check_write("POST", "/sales", body, &["/stock", "/sales", "/reports/daily"]);
    }

    #[test]
    fn a_purchase_shows_in_stock_and_purchases() {
        check_write("POST", "/purchases", r#"{"items":[{"product_id":5,"quantity":2}]}"#, &["/stock", "/purchases"]);
    }

    #[test]
    fn an_adjustment_shows_in_stock_alone() {
        check_write("POST", "/products/7/adjust", r#"{"delta":-3}"#, &["/stock"]);
    }

    #[test]
    fn a_name_shows_in_its_table_and_on_its_products() {
        check_write("PUT", "/categories/5", r#"{"name":"New"}"#, &["/products", "/categories"]);
        check_write("PATCH", "/brands/5", r#"{"name":"New"}"#, &["/products", "/brands"]);
        check_write("PUT", "/units/5", r#"{"name":"New"}"#, &["/products", "/units"]);
        check_write("DELETE", "/categories/5", "", &["/products", "/categories"]);
        check_write("POST", "/units", r#"{"name":"New"}"#, &["/units"]);
    }

    #[test]
    fn a_product_shows_in_products_and_its_variants() {
        check_write("PUT", "/products/5", r#"{"name":"New"}"#, &["/products"]);
    }

    #[track_caller]
    fn check_refused(method: &str, path: &str, body: &str, expected: &str) {
        let mut shop = Shop::new(1, OPENED);
        let before = contents(&mut shop);
        let refusal = shop.write(method, path, body.as_bytes(), OPENED).expect_err("nothing that can be done");
        assert!(format!("{refusal:?}").starts_with(expected), "{method} {path}: {refusal:?}");
        assert_eq!(contents(&mut shop), before, "{method} {path}");
    }

    #[test]
    fn what_cannot_be_done_changes_nothing() {
        check_refused("PUT", "/categories/41", r#"{"name":"New"}"#, "NotFound");
        check_refused("DELETE", "/units/x", "", "NotFound");
        check_refused("POST", "/products/5001/adjust", r#"{"delta":1}"#, "NotFound");
        check_refused("POST", "/elsewhere", "{}", "NotFound");
        check_refused("DELETE", "/products/5", "", "MethodNotAllowed");
        check_refused("PUT", "/categories", r#"{"name":"New"}"#, "MethodNotAllowed");
        check_refused("PUT", "/categories/5", "{", "Unprocessable");
        check_refused("POST", "/sales", r#"{"items":[]}"#, "Unprocessable");
        check_refused(
            "POST",
            "/sales",
            r#"{"items":[{"product_id":5,"quantity":1},{"product_id":0,"quantity":1}]}"#,
            "Unprocessable",
        );
    }

    #[test]
    fn a_shop_has_its_rows() {
        let mut shop = Shop::new(1, OPENED);
        let mut total = |path: &str| shop.read(path).and_then(|content| content.total);
        assert_eq!(total("/products"), Some(5_000));
        assert_eq!(total("/products/1/variants"), Some(3));
        assert_eq!(total("/stock"), Some(5_000));
        assert_eq!(total("/categories"), Some(40));
        assert_eq!(total("/brands"), Some(60));
        assert_eq!(total("/units"), Some(20));
        assert_eq!(total("/sales"), Some(0));
        assert_eq!(total("/products/5001/variants"), None);
    }

    #[test]
    fn product_rows_hold_names_and_no_stock() {
        let mut shop = Shop::new(1, OPENED);
        let data = shop.read("/products/1").expect("a product").data;
        let row: serde_json::Value = serde_json::from_slice(&data).expect("JSON");
        assert!(row["category_name"].is_string() && row["brand_name"].is_string() && row["unit_name"].is_string());
        assert!(row.get("quantity").is_none());
    }
}
