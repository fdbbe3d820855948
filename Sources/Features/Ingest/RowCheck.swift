import Core

/// Why nothing of a push or file is stored.
package struct CheckStop: Sendable, Equatable {
  package var check: String
  package var position: String
  package var reason: String

  package var error: PlatformError {
    PlatformError(
      .invalidRecord,
      "\(position): \(reason). The check \(check) has `on_fail: stop`: nothing was stored; correct "
        + "the record and send all again")
  }
}

/// A check of a source with its column's place, made ready for many values.
struct RowCheck {
  let index: Int
  let check: ColumnCheck
  private let strings: Set<ExactText>
  private let integers: Set<Int64>
  private let doubles: Set<Double>
  private let pattern: Pattern?
  private let allowedText: String

  /// The checks of a source that look at one record alone.
  static func of(_ source: SourceDefinition) -> [RowCheck] {
    source.checks.compactMap { check in
      source.columns.firstIndex { $0.name == check.column }.map { RowCheck($0, check) }
    }
  }

  private init(_ index: Int, _ check: ColumnCheck) {
    self.index = index
    self.check = check
    let allowed = check.allowed ?? []
    strings = Set(allowed.map { ExactText($0) })
    integers = Set(allowed.compactMap { Int64($0) })
    doubles = Set(allowed.compactMap { Double($0) })
    // An expression that does not compile was refused when the definitions were read.
    pattern = check.regex.flatMap { try? Pattern($0) }
    allowedText = allowed.prefix(10).joined(separator: ", ") + (allowed.count > 10 ? ", …" : "")
  }

  var hasRange: Bool { check.min != nil || check.max != nil }
  /// Whether values, not only their presence, are looked at.
  var looksAtValues: Bool { hasRange || check.allowed != nil || pattern != nil }

  /// NaN is within no limit: it fails a minimum and a maximum.
  @inline(__always)
  func passes(_ number: Double) -> Bool {
    if let least = check.min, !(number >= least) { return false }
    if let greatest = check.max, !(number <= greatest) { return false }
    return true
  }

  @inline(__always)
  func fault(_ value: Double) -> RowFault? {
    if !passes(value) { return rangeFault(value, shown: shortText(value)) }
    if check.allowed != nil, !doubles.contains(value) { return notAllowed(shortText(value)) }
    return nil
  }

  @inline(__always)
  func fault(_ value: Int64) -> RowFault? {
    if hasRange, !passes(Double(value)) { return rangeFault(Double(value), shown: String(value)) }
    if check.allowed != nil, !integers.contains(value) { return notAllowed(String(value)) }
    return nil
  }

  func fault(_ value: String) -> RowFault? {
    if check.allowed != nil, !strings.contains(ExactText(value)) { return notAllowed("'\(value)'") }
    if let pattern, !pattern.matches(value) {
      return .noMatch(column: check.column, value: "'\(value)'", pattern: pattern.text)
    }
    return nil
  }

  private func notAllowed(_ value: String) -> RowFault {
    .notAllowed(column: check.column, value: value, allowed: allowedText)
  }

  private func rangeFault(_ number: Double, shown value: String) -> RowFault {
    if number.isNaN {
      let limits = [check.min.map { _ in "a minimum" }, check.max.map { _ in "a maximum" }]
        .compactMap { $0 }
      return .outOfRange(
        column: check.column, value: "NaN",
        limit:
          "not a number, which is within no limit (the column has \(limits.joined(separator: " and ")))",
        isBelow: check.min != nil)
    }
    if let least = check.min, !(number >= least) {
      return .outOfRange(
        column: check.column, value: value, limit: "below the minimum \(shortText(least))",
        isBelow: true)
    }
    return .outOfRange(
      column: check.column, value: value,
      limit: "above the maximum \(shortText(check.max ?? .infinity))", isBelow: false)
  }
}

/// What the checks of one record came to.
struct CheckVerdict {
  /// The first fault that keeps the record out.
  private(set) var fault: RowFault?
  private(set) var stop: RowFault?
  private(set) var warnings: [RowFault] = []
  private(set) var failed: [String] = []

  mutating func note(_ found: RowFault, _ action: FailAction) {
    if let name = found.checkName { failed.append(name) }
    switch action {
    case .warn: warnings.append(found)
    case .quarantine: if fault == nil { fault = found }
    case .stop:
      if stop == nil { stop = found }
      if fault == nil { fault = found }
    }
  }
}

/// What checks found in many records, on its way into `ValidatedRows`.
struct CheckTally {
  var failures: [String: Int] = [:]
  var warnings: [String: Int] = [:]
  var stop: CheckStop?

  /// - Parameter isKept: false where the record goes to quarantine, for this or another reason.
  mutating func add(_ verdict: CheckVerdict, position: @autoclosure () -> String, isKept: Bool) {
    for name in verdict.failed { failures[name, default: 0] += 1 }
    if isKept { for warning in verdict.warnings { warnings[warning.kind, default: 0] += 1 } }
    if stop == nil, let fault = verdict.stop {
      stop = CheckStop(
        check: fault.checkName ?? "", position: position(), reason: fault.reason)
    }
  }

  func give(to rows: inout ValidatedRows) {
    rows.checkFailures.merge(failures, uniquingKeysWith: +)
    rows.warnings.merge(warnings, uniquingKeysWith: +)
    if rows.stop == nil { rows.stop = stop }
  }
}
