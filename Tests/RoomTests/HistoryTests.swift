import Core
import Features
import Testing

@Suite struct HistoryTests {
  @Test(arguments: HistoryMode.allCases)
  func `history equals the naive oracle on random cases`(mode: HistoryMode) async throws {
    let first = UInt64.random(in: 0...1_000_000_000)
    for seed in first..<first + 1_000 {
      let history = try HistoryCase(seed: seed)
      let set = try await PointInTimeJoin(history.scan(seed: seed)).run(
        spine: history.spine, time: "t", features: history.features, mode: mode,
        snapshot: history.snapshot, withStatuses: seed % 2 == 0)
      #expect(set.columns.count == history.spine.count)
      #expect(Array(set.columns.columns.prefix(4)) == history.spine.columns)
      let oracle = HistoryOracle(history: history, mode: mode)
      for feature in history.features {
        let column = try #require(set.columns[feature.description])
        for row in 0..<history.spine.count {
          let expected = oracle.value(feature, row: row)
          let isRight =
            isSame(column[row], expected.value, relative: history.relativeError(of: feature))
            && (set.statuses?[feature]).map { $0[row] == expected.status } ?? true
          if !isRight {
            Issue.record(
              "seed \(seed), \(mode), \(feature), row \(row): \(column[row]) \(String(describing: set.statuses?[feature]?[row])), expected \(expected)"
            )
            return
          }
        }
      }
    }
  }
}
