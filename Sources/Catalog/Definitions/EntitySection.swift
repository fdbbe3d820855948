import Core

/// Reads `entities:`.
struct EntitySection {
  let diagnostics: Diagnostics

  func read(_ section: MappingReader?) -> [EntityDefinition] {
    (section?.named("entity") ?? []).map { name, value in
      let mapping = value.mapping(of: value.what, known: ["key"], at: name.place)
      return EntityDefinition(name: name.value, key: mapping.map(key) ?? [])
    }
  }

  private func key(_ mapping: MappingReader) -> [String] {
    guard
      let items = mapping.required(
        "key",
        "the columns that name one, like [customer_id], or [] for features of everything together")?
        .list()
    else { return [] }
    var columns: [String] = []
    for item in items {
      guard let column = item.name("column") else { continue }
      if columns.contains(column.value) {
        mapping.report("'\(column.value)' is twice in the key of \(mapping.noun)", at: column.place)
      } else {
        columns.append(column.value)
      }
    }
    return columns
  }
}
