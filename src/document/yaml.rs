use super::*;
pub fn read(_: &str) -> (Node, Vec<Fault>) {
    (Node { place: Place { line: 1, column: 1 }, value: Value::Null }, vec![])
}
