import Core

/// The second half of `ParityCheck`: what models derived themselves, evaluated again on the recomputed features and the logged inputs.
struct ParityOfModels {
  let served: [ParityCheck.Served]
  /// What the vectors' features should have been, by row of `served`.
  let recomputed: TrainingSet?
  /// By row, what differed of the features themselves.
  let differing: [Int: [ParityCheck.Mismatch]]

  /// One derived value of one model version, in the vectors that have it.
  private struct Use {
    var derived: ParityCheck.ServedDerived
    var rows: [Int] = []
    /// The index in each row's `derived`.
    var places: [Int] = []
  }

  func check(into report: inout ParityCheck.Report) {
    var uses: [Use] = []
    for (row, vector) in served.enumerated() {
      for (place, derived) in vector.derived.enumerated() {
        let known = uses.firstIndex {
          $0.derived.name == derived.name && $0.derived.expression == derived.expression
        }
        let use = known ?? uses.count
        if known == nil { uses.append(Use(derived: derived)) }
        uses[use].rows.append(row)
        uses[use].places.append(place)
      }
    }
    for use in uses { check(use, into: &report) }
  }

  private func check(_ use: Use, into report: inout ParityCheck.Report) {
    let expression = use.derived.expression
    let values = expression.evaluate(count: use.rows.count) { name in column(name, of: use) }
    for (index, row) in use.rows.enumerated() {
      let vector = served[row]
      let derived = vector.derived[use.places[index]]
      report.compared[derived.name, default: 0] += 1
      var value = values[index]
      if derived.type == .double, case .int64(let whole) = value { value = .double(Double(whole)) }
      let recomputed = FeatureValue(value: value, status: derived.value.status)
      if ParityCheck.agrees(derived.value, recomputed) { continue }
      report.mismatches.append(
        ParityCheck.Mismatch(
          id: vector.id, feature: derived.name, time: vector.time, served: derived.value,
          recomputed: recomputed,
          cause: cause(of: expression, row) ?? ParityCheck.plainCause(derived.value, recomputed)))
    }
  }

  private func column(_ name: String, of use: Use) -> Column? {
    if FeatureName(name) != nil { return recomputed?.columns[name]?.gather(use.rows) }
    guard let type = use.derived.inputs[name]?.type else { return nil }
    let values = zip(use.rows, use.places).map { row, place in
      served[row].derived[place].inputs[name]?.value ?? .null
    }
    return Column(name: name, type: type, values)
  }

  /// That of an operand which differed: what is made from it differs for the same reason.
  private func cause(of expression: Expression, _ row: Int) -> ParityCheck.Cause? {
    let operands = Set(expression.names)
    return differing[row]?.first { operands.contains($0.feature.description) }?.cause
  }
}
