import Core
import Features
import Serving
import Testing

@Suite("Arrays of a model") struct ServingArrayTests {
  static let vector = ColumnType.array(of: .double, length: 2)
  static let whole = ColumnType.array(of: .int64, length: 2)

  static func rows(_ cells: [[Value]]) -> HydratedRows {
    HydratedRows(
      features: [
        ColumnDefinition(name: "v", type: vector), ColumnDefinition(name: "n", type: whole),
      ],
      vectors: cells.map { row in
        FeatureVector(
          values: row.map { FeatureValue(value: $0, status: $0.isNull ? .notFound : .present) })
      }, time: Timestamp(microseconds: 0))
  }

  static func cells(_ column: Column?) -> [Value] {
    column.map { column in (0..<column.count).map { column[$0] } } ?? []
  }

  @Test func `a number for missing values stands in every element`() throws {
    let batch = try MissingFeatures.resolve(
      MissingPolicy(default: .value(0.5), perFeature: ["n": .value(7)]),
      Self.rows([[.null, .list(.int64([1, 2]))], [.list(.double([3, 4])), .null]]), model: "m")
    #expect(Self.cells(batch["v"]) == [.list(.double([0.5, 0.5])), .list(.double([3, 4]))])
    #expect(Self.cells(batch["n"]) == [.list(.int64([1, 2])), .list(.int64([7, 7]))])
    let flat = batch.flattened(as: [], missing: MissingPolicy())
    #expect(flat.columns.map(\.name) == ["v[0]", "v[1]", "n[0]", "n[1]"])
    #expect(Self.cells(flat["n[1]"]) == [.double(2), .double(7)])
  }

  @Test
  func
    `a list of any length fills so many columns, the newest first, with the policy's value or null for the rest`()
    throws
  {
    let type = ColumnType.array(of: .int64, length: nil)
    let feature = ModelFeature(
      name: "a.last", origin: .view(FeatureName(view: "a", feature: "last")), type: type,
      elements: 2)
    #expect(feature.columnNames == ["a.last[0]", "a.last[1]"])
    let batch = ColumnBatch(columns: [
      Column(
        name: "a.last", type: type,
        [.list(.int64([3, 2, 1])), .list(.int64([5])), .null, .list(.int64([8, 7]))]),
      Column(name: "x", values: .double([1, 2, 3, 4])),
    ])
    let flat = batch.flattened(as: [feature], missing: MissingPolicy())
    #expect(flat.columns.map(\.name) == ["a.last[0]", "a.last[1]", "x"])
    #expect(Self.cells(flat["a.last[0]"]) == [.double(3), .double(5), .null, .double(8)])
    #expect(Self.cells(flat["a.last[1]"]) == [.double(2), .null, .null, .double(7)])
    let filled = batch.flattened(as: [feature], missing: MissingPolicy(default: .value(-1)))
    #expect(
      Self.cells(filled["a.last[1]"]) == [.double(2), .double(-1), .double(-1), .double(7)])
  }

  @Test func `a missing array is an error where the model says so`() {
    let error = #expect(throws: PlatformError.self) {
      try MissingFeatures.resolve(
        MissingPolicy(default: .error), Self.rows([[.null, .list(.int64([1, 2]))]]), model: "m")
    }
    #expect(error?.message.contains("'v' (not_found)") == true)
  }

  @Test func `training rows get the same values for missing arrays`() {
    let filled = MissingPolicy(default: .value(9)).filled(
      ColumnBatch(columns: [
        Column(name: "v", type: Self.vector, [.null, .list(.double([1, 2]))]),
        Column(name: "n", type: Self.whole, [.list(.int64([3, 4])), .null]),
      ])
    ).flattened(as: [], missing: MissingPolicy())
    #expect(filled.columns.map { $0[0] } == [.double(9), .double(9), .double(3), .double(4)])
    #expect(filled.columns.map { $0[1] } == [.double(1), .double(2), .double(9), .double(9)])
  }

  @Test func `the hash of a training set knows where arrays end`() {
    func hash(_ cells: [Value]) -> String {
      TrainingSetHash.of(
        ColumnBatch(columns: [
          Column(name: "v", type: .array(of: .double, length: nil), cells)
        ]), label: [0, 1], times: [0, 1])
    }
    let one = hash([.list(.double([1])), .list(.double([2, 3]))])
    #expect(one == hash([.list(.double([1])), .list(.double([2, 3]))]))
    #expect(one != hash([.list(.double([1, 2])), .list(.double([3]))]))
    #expect(one != hash([.list(.double([1])), .null]))
  }
}
