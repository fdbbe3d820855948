import Core

/// Reads `rollout` of a model, and refuses a rule that no canary could ever meet.
struct RolloutSection {
  private static let limits = ["error_rate", "p95_ratio", "drift", "metric"]

  private let hasDrift: Bool
  private let hasLabel: Bool
  private let train: TrainingDefinition?

  init(hasDrift: Bool, hasLabel: Bool, _ train: TrainingDefinition?) {
    self.hasDrift = hasDrift
    self.hasLabel = hasLabel
    self.train = train
  }

  func read(_ reader: NodeReader) -> RolloutDefinition? {
    guard let mapping = reader.mapping(of: reader.what, known: ["canary", "after"]) else {
      return nil
    }
    let canary = mapping.required("canary", "the share of keys that it answers, like 10%")?.share()
    let after = mapping.required(
      "after", "what it must show, like {requests: 2000, error_rate: 1%}"
    ).flatMap(rule)
    guard let canary, let after else { return nil }
    return RolloutDefinition(canary: canary, after: after)
  }

  private func rule(_ reader: NodeReader) -> RolloutRule? {
    guard let mapping = reader.mapping(of: reader.what, known: ["requests"] + Self.limits) else {
      return nil
    }
    let requests = mapping.required("requests", "how many it answers before it may be promoted")?
      .integer(1...1_000_000_000)
    // A misspelt limit is reported itself.
    if mapping.keys.allSatisfy({ $0 == "requests" }) {
      mapping.report(
        "\(mapping.noun) has no limit, so that nothing could ever roll the canary back; give one of "
          + Self.limits.joined(separator: ", "))
    }
    let rule = RolloutRule(
      requests: requests.map { Int($0.value) } ?? 1,
      errorRate: mapping["error_rate"].flatMap { $0.share() },
      p95Ratio: limit(
        mapping["p95_ratio"], above: 0.1, upTo: 1_000,
        "no version answers ten times as fast as the one before it"),
      drift: drift(mapping), metricLoss: metric(mapping))
    return requests == nil ? nil : rule
  }

  private func drift(_ mapping: MappingReader) -> Double? {
    guard let reader = mapping["drift"] else { return nil }
    guard hasDrift else {
      reader.report(
        "\(reader.what) needs 'drift' of the model, whose window says which predictions are looked "
          + "at: add `drift: {window: 1h}`")
      return nil
    }
    return limit(
      reader, above: 0.001, upTo: 100,
      "two samples of the very same predictions differ by more than that")
  }

  private func metric(_ mapping: MappingReader) -> Double? {
    guard let reader = mapping["metric"] else { return nil }
    guard hasLabel, let train else {
      reader.report(
        "\(reader.what) needs 'label' and 'train' of the model: without labels no metric is ever known"
      )
      return nil
    }
    guard [.rocAUC, .accuracy].contains(train.metric) else {
      reader.report(
        "\(reader.what) is not available for \(train.metric.rawValue), which has no bounds that a "
          + "sequential test could use; it is for roc_auc and accuracy")
      return nil
    }
    return reader.share()
  }

  /// A number in the open-closed range; `why` says what is wrong with a smaller one.
  private func limit(
    _ reader: NodeReader?, above low: Double, upTo high: Double, _ why: String
  ) -> Double? {
    guard let reader, let number = reader.number() else { return nil }
    guard number.value > low else {
      reader.report("\(reader.what) can never be met: it must be above \(low), because \(why)")
      return nil
    }
    guard number.value <= high else {
      reader.report("\(reader.what) is \(number.value); it must be at most \(high)")
      return nil
    }
    return number.value
  }
}
