import Core
import Foundation
import TestKit

/// A small shop: customers who buy, and whether they came back. The clock is the test's.
enum ShopProject {
  /// Where the simulated clock of `environment` begins; all events of `history` are older.
  static let start = "2026-03-01T00:00:00Z"

  static let environment = [
    "MARTLET_CLOCK_MODE": "simulated", "MARTLET_CLOCK_START": start,
  ]

  static let definitions = """
    project: shop
    entities:
      customer: {key: [customer_id]}
    sources:
      events:
        event_time: at
        event_id: event_id
        columns: {customer_id: int64, kind: string, amount: double}
        checks: {customer_id: {required: true}, amount: {min: 0, max: 1000}}
      outcomes:
        event_time: known_at
        event_id: outcome_id
        columns: {customer_id: int64, checked_at: timestamp, churned: bool}
    views:
      activity:
        entity: customer
        source: events
        features:
          last_kind:   {latest: kind}
          last_amount: {latest: amount, ttl: 30d}
          events_7d:   {count: "*", window: 7d}
          spend_7d:    {sum: amount, window: 7d}
          buys_7d:     {count: "*", where: kind = 'buy', window: 7d}
          mean_7d:     {derived: spend_7d / events_7d}

    """

  /// A model `name` that `function` of train.py trains.
  static func model(_ name: String, _ function: String, drift: String = "") -> String {
    """
      \(name):
        features: [activity.last_amount, activity.events_7d, activity.spend_7d, activity.mean_7d]
        missing: {default: null}
        spine: {source: outcomes, time: checked_at}
        label: {source: outcomes, value: churned, delay: 1d}
        train: {run: "train.py:\(function)", metric: roc_auc}
    \(drift.isEmpty ? "" : "    drift: \(drift)")

    """
  }

  /// Good and bad ways to train, and a model that misbehaves: how, the customer's `last_amount` says.
  static let code = """
    import os
    import sys
    import time

    import numpy as np


    def scikit(dataset, context):
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(dataset.X, dataset.y)


    def lightgbm(dataset, context):
        from lightgbm import LGBMClassifier

        return LGBMClassifier(n_estimators=30, n_jobs=1, verbose=-1).fit(dataset.X, dataset.y)


    class Constant:
        def predict(self, columns):
            return np.full(len(next(iter(columns.values()))), 0.5)


    class Troubled:
        def predict(self, columns):
            amounts = np.asarray(columns["activity.last_amount"], dtype=float)
            for amount in amounts:
                if amount == 991:
                    raise ValueError("no price for this customer")
                if amount == 992:
                    while True:
                        pass
                if amount == 993:
                    os._exit(3)
                if amount == 994:
                    print("the model speaks on standard output")
                    sys.stdout.flush()
                if amount == 995:
                    return np.zeros((len(amounts), 3))
                if amount == 996:
                    sys.exit(4)
                if amount == 997:
                    time.sleep(2)
            return np.full(len(amounts), 0.25)


    def constant(dataset, context):
        return Constant()


    def troubled(dataset, context):
        return Troubled()


    def failing(dataset, context):
        raise RuntimeError("the labels look wrong")


    def missing_module(dataset, context):
        import no_such_library_anywhere


    def slow(dataset, context):
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "trainings")
        with open(path, "a") as file:
            file.write("began\\n")
        with open(path) as file:
            first = len(file.readlines()) == 1
        if first:
            time.sleep(300)
        return Constant()

    """

  /// Starts a platform with these models in force.
  static func with<Result>(
    models: [String] = [], environment more: [String: String] = [:], data: String? = nil,
    _ body: (PlatformProcess) async throws -> Result
  ) async throws -> Result {
    let yaml = models.isEmpty ? definitions : definitions + "models:\n" + models.joined()
    return try await PlatformProcess.with(
      files: ["martlet.yaml": yaml, "train.py": code],
      environment: environment.merging(more) { $1 }, data: data
    ) { platform in
      let answer = try await platform.rest.apply(yaml)
      guard answer.status == 200 else { throw Refused(request: "apply", answer: answer) }
      return try await body(platform)
    }
  }

  /// One event as JSON.
  static func event(
    _ id: String, customer: Int, kind: String = "buy", amount: Double = 10, at: String
  ) -> String {
    #"{"event_id": "\#(id)", "customer_id": \#(customer), "kind": "\#(kind)", "amount": \#(amount), "at": "\#(at)"}"#
  }

  /// Four weeks of customers, the busier ones more likely to come back: events and outcomes as JSON lines.
  static func history(customers: Int = 300) -> (events: String, outcomes: String) {
    var random = SeededGenerator(seed: 11)
    var events: [String] = []
    var outcomes: [String] = []
    for customer in 0..<customers {
      let pace = Double.random(in: 0...1, using: &random)
      for day in 1...28 where Double.random(in: 0...1, using: &random) < pace {
        let amount = (Double.random(in: 5...50, using: &random) * 100).rounded() / 100
        events.append(
          event(
            "e\(customer)-\(day)", customer: customer, amount: amount,
            at: "2026-02-\(twoDigits(day))T\(twoDigits(customer % 24)):30:00Z"))
      }
      for day in [10, 15, 20, 25] {
        let churned = Double.random(in: 0...1, using: &random) > 0.02 + 0.96 * pace
        outcomes.append(
          """
          {"outcome_id": "o\(customer)-\(day)", "customer_id": \(customer), "churned": \(churned), \
          "checked_at": "2026-02-\(day)T12:00:00Z", "known_at": "2026-02-\(day + 1)T12:00:00Z"}
          """)
      }
    }
    return (events.joined(separator: "\n"), outcomes.joined(separator: "\n"))
  }

  /// Feeds `history` as two JSON-lines files.
  static func feed(_ rest: RESTClient) async throws {
    let history = history()
    for (source, lines) in [("events", history.events), ("outcomes", history.outcomes)] {
      let answer = try await rest.upload(source, "\(source).jsonl", lines)
      guard answer.status == 200, answer["quarantined"]?.int == 0 else {
        throw Refused(request: "upload of \(source)", answer: answer)
      }
    }
  }
}

func twoDigits(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
