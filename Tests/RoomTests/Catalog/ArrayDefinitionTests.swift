import Catalog
import Testing

@Suite("Definitions of arrays")
struct ArrayDefinitionTests {
  private static let bad = """
    project: shop
    entities:
      document: {key: [tags]}
      customer: {key: [customer_id]}
    sources:
      documents:
        event_time: versions
        event_id: embedding
        columns:
          customer_id: int64
          tags: string[]
          embedding: double[3]
          versions: timestamp[]
          short: float[3]
          empty: double[0]
          huge: double[9000]
          open: "double["
        checks: {embedding: {min: 0}}
      visits:
        event_time: at
        columns: {customer_id: int64, scores: "double[2]", tags: "string[]", bought: bool}
    views:
      by_tag: {entity: document, source: visits, features: {last: {latest: bought}}}
      visits:
        entity: customer
        source: visits
        features:
          scores: {latest: scores}
          tags: {latest: tags}
          total: {sum: scores, window: 1h}
          some: {count: "*", where: scores > 1, window: 1h}
          same: {derived: scores = scores}
          measured: {derived: len(scores) + 1}
    models:
      buys:
        features: [visits.scores, visits.tags]
        spine: {source: visits, time: at}
        label: {source: visits, value: scores, join: tags, delay: 1d}

    """

  @Test(
    "a model may read a last_k of numbers, as so many columns as its k; one of texts is refused")
  func lastK() throws {
    func yaml(_ column: String) -> String {
      """
      project: shop
      entities: {customer: {key: [customer_id]}}
      sources:
        orders: {event_time: at, columns: {customer_id: int64, amount: double, note: string}}
      views:
        orders:
          entity: customer
          source: orders
          features: {last: {last_k: \(column), k: 3, window: 7d}}
      models:
        m: {features: [orders.last]}

      """
    }
    let model = try #require(try DefinitionFixtures.parse(yaml("amount")).model("m"))
    #expect(model.features.map(\.elements) == [3])
    #expect(
      model.features.flatMap(\.columnNames)
        == ["orders.last[0]", "orders.last[1]", "orders.last[2]"])
    let refusal = Self.lines(yaml("note")).joined()
    #expect(
      refusal.contains("'orders.last' in the features of model 'm' is string[]"), "\(refusal)")
  }

  private static func lines(_ yaml: String) -> [String] {
    do {
      _ = try DefinitionFixtures.parse(yaml)
      return []
    } catch {
      return error.description.split(separator: "\n").map(String.init)
    }
  }

  @Test(
    "an array where none can be is refused in its line",
    arguments: [
      (7, "is timestamp[]; to be used here it must be timestamp"),
      (8, "is double[3]; to be used here it must be string or int64"),
      (14, "did you mean 'double[3]'?"),
      (15, "from 1 to 8192"),
      (16, "from 1 to 8192"),
      (18, "min and max are for int64 and double columns"),
      (23, "is string[]; a column in the key of entity 'document' must be string or int64"),
      (30, "sum needs int64 or double"),
      (31, "'>' needs int64 or double or timestamp, but scores is double[2]"),
      (32, "'=' takes no arrays, but scores is double[2]"),
      (36, "'visits.tags' in the features of"),
      (38, "a label must be bool or a number"),
      (38, "rows cannot be joined by an array"),
    ])
  func refused(line: Int, message: String) {
    let found = Self.lines(Self.bad)
    #expect(
      found.contains { $0.hasPrefix("martlet.yaml:\(line):") && $0.contains(message) },
      "\(found.joined(separator: "\n"))")
  }

  @Test("a bare array type inside braces says how to write it")
  func inBraces() {
    let found = Self.lines(
      """
      project: shop
      sources:
        documents:
          event_time: at
          columns: {customer_id: int64, embedding: double[3]}
      """)
    #expect(found.count == 1)
    #expect(
      found.first?.hasSuffix(#"inside braces, write an array type in quotes: "double[3]""#) == true,
      "\(found)")
  }
}
