import Core
import Features
import TestKit
import Testing

/// What models derive themselves, evaluated again from the log.
@Suite struct ParityOfModelsTests {
  private static let name = FeatureName(view: "models.m", feature: "late")

  private static func report(
    _ expression: String, _ served: [(inputs: [String: Value], value: Value)]
  ) async throws -> ParityCheck.Report {
    let expression = try Expression.parse(expression)
    let vectors = served.enumerated().map { number, one in
      ParityCheck.Served(
        id: "\(number)", keys: [:], time: Timestamp(microseconds: 0), values: [:],
        derived: [
          ParityCheck.ServedDerived(
            name: name, expression: expression, type: .double,
            value: FeatureValue(value: one.value, status: one.value.isNull ? .null : .present),
            inputs: one.inputs.mapValues { ($0, .int64) })
        ])
    }
    return try await ParityCheck(warehouse: MemoryWarehouse(), clock: SystemClock()).run(
      vectors, snapshot: Snapshot.empty)
  }

  @Test("a value that its expression gives on the logged inputs agrees, also null")
  func agrees() async throws {
    let report = try await Self.report(
      "hour / 4",
      [
        (["hour": .int64(6)], .double(1.5)), (["hour": .null], .null),
        (["hour": .int64(8)], .double(2)),
      ])
    #expect(report.vectors == 3 && report.compared == [Self.name: 3])
    #expect(report.mismatches.isEmpty, "\(report.mismatches)")
  }

  @Test("a value that it does not give is a mismatch with what it should have been")
  func differs() async throws {
    let report = try await Self.report(
      "hour * 2",
      [
        (["hour": .int64(6)], .double(12)), (["hour": .int64(7)], .double(13)),
        (["hour": .int64(8)], .null),
      ])
    #expect(report.mismatches.map(\.id) == ["1", "2"])
    #expect(report.mismatches.map(\.cause) == [.valueDiffers, .nullDiffers])
    #expect(report.mismatches.map(\.recomputed.value) == [.double(14), .double(16)])
    #expect(report.mismatches.allSatisfy { $0.feature == Self.name })
  }
}
