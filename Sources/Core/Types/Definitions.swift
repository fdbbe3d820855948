/// Everything a project declares, validated: what `martlet.yaml` says, as values.
///
/// All lists are in the order of the file. Every name that one part uses is declared by another: a
/// `ProjectDefinition` that exists is consistent.
package struct ProjectDefinition: Sendable, Equatable, Codable {
  package var name: String
  package var entities: [EntityDefinition]
  package var sources: [SourceDefinition]
  package var views: [ViewDefinition]
  package var models: [ModelDefinition]

  package init(
    name: String, entities: [EntityDefinition] = [], sources: [SourceDefinition] = [],
    views: [ViewDefinition] = [], models: [ModelDefinition] = []
  ) {
    self.name = name
    self.entities = entities
    self.sources = sources
    self.views = views
    self.models = models
  }

  package func entity(_ name: String) -> EntityDefinition? { entities.first { $0.name == name } }
  package func source(_ name: String) -> SourceDefinition? { sources.first { $0.name == name } }
  package func view(_ name: String) -> ViewDefinition? { views.first { $0.name == name } }
  package func model(_ name: String) -> ModelDefinition? { models.first { $0.name == name } }
}

/// The thing features are about, and the columns that name it: none where there is only one, which every event is about.
package struct EntityDefinition: Sendable, Equatable, Codable {
  package var name: String
  package var key: [String]

  package init(name: String, key: [String]) {
    self.name = name
    self.key = key
  }
}

/// A typed event schema with an event-time column.
package struct SourceDefinition: Sendable, Equatable, Codable {
  package var name: String
  /// The record field that says when the event happened. It may also be one of `columns`.
  package var eventTime: String
  /// IANA zone of times without one; nil makes such times an error.
  package var zone: String?
  /// The record field that identifies the event; nil derives an id from where the record came from.
  package var eventID: String?
  package var columns: [ColumnDefinition]
  package var checks: [ColumnCheck]
  package var transform: CodeReference?
  /// The topic that brings events of the source; nil for none. No two sources share one.
  package var kafka: KafkaDefinition?
  package var retention: Span?

  package init(
    name: String, eventTime: String, zone: String? = nil, eventID: String? = nil,
    columns: [ColumnDefinition], checks: [ColumnCheck] = [], transform: CodeReference? = nil,
    kafka: KafkaDefinition? = nil, retention: Span? = nil
  ) {
    self.name = name
    self.eventTime = eventTime
    self.zone = zone
    self.eventID = eventID
    self.columns = columns
    self.checks = checks
    self.transform = transform
    self.kafka = kafka
    self.retention = retention
  }

  package func column(_ name: String) -> ColumnDefinition? { columns.first { $0.name == name } }
}

/// Where a source's events come from in Kafka.
package struct KafkaDefinition: Sendable, Equatable, Codable {
  /// What becomes of a push.
  package enum PushWay: String, Sendable, Codable, CaseIterable {
    /// It is stored by the process that takes it.
    case apply
    /// It is produced to the topic, and stored by whoever reads that.
    case produce
  }

  package var topic: String
  package var push: PushWay

  package init(topic: String, push: PushWay = .apply) {
    self.topic = topic
    self.push = push
  }
}

package struct ColumnDefinition: Sendable, Equatable, Codable {
  package var name: String
  package var type: ColumnType

  package init(name: String, type: ColumnType) {
    self.name = name
    self.type = type
  }
}

/// A Python function in a file of the project, written `file.py:function`.
package struct CodeReference: Sendable, Hashable, Codable, CustomStringConvertible {
  package var file: String
  package var function: String
  /// A file of the project with the pinned versions that the function needs; nil where nothing is pinned.
  package var requirements: String?

  package init(file: String, function: String, requirements: String? = nil) {
    self.file = file
    self.function = function
    self.requirements = requirements
  }

  package var description: String { "\(file):\(function)" }
}

/// The features of one entity from one source.
package struct ViewDefinition: Sendable, Equatable, Codable {
  package var name: String
  package var entity: String
  package var source: String
  package var features: [FeatureDefinition]

  package init(name: String, entity: String, source: String, features: [FeatureDefinition]) {
    self.name = name
    self.entity = entity
    self.source = source
    self.features = features
  }

  package func feature(_ name: String) -> FeatureDefinition? { features.first { $0.name == name } }
}

package struct FeatureDefinition: Sendable, Equatable, Codable {
  package var name: String
  package var kind: FeatureKind
  package var type: ColumnType

  package init(name: String, kind: FeatureKind, type: ColumnType) {
    self.name = name
    self.kind = kind
    self.type = type
  }
}

package enum FeatureKind: Sendable, Equatable, Codable {
  /// The newest observation of a column (semantics §2).
  case latest(column: String, ttl: Span?)
  /// An aggregate over a sliding window (semantics §4).
  case window(WindowDefinition)
  /// An expression over features of the same view, or `view.feature` of another (semantics §5).
  case derived(Expression)
}

package enum AggregateFunction: String, Sendable, Codable, CaseIterable {
  case count
  case countDistinct = "count_distinct"
  case sum, mean, min, max, stddev, variance, first, last
  case lastK = "last_k"
  case quantile

  /// Whether it works with numbers only.
  package var isNumeric: Bool {
    switch self {
    case .sum, .mean, .min, .max, .stddev, .variance, .quantile: true
    case .count, .countDistinct, .first, .last, .lastK: false
    }
  }

  /// The type of its answer over a column.
  package func type(over column: ColumnType) -> ColumnType {
    switch self {
    case .count, .countDistinct: .int64
    case .first, .last: column
    case .lastK: .array(of: column.scalar, length: nil)
    case .sum, .mean, .min, .max, .stddev, .variance, .quantile: .double
    }
  }
}

package struct WindowDefinition: Sendable, Hashable, Codable {
  package var function: AggregateFunction
  /// Nil counts events (`"*"`).
  package var column: String?
  package var filter: Expression?
  package var length: Span
  package var resolution: Span
  /// Which quantile, from 0 through 1.
  package var parameter: Double?
  /// How many values `last_k` gives at most.
  package var limit: Int?

  package init(
    function: AggregateFunction, column: String?, filter: Expression? = nil, length: Span,
    resolution: Span? = nil, parameter: Double? = nil, limit: Int? = nil
  ) {
    self.function = function
    self.parameter = parameter
    self.limit = limit
    self.column = column
    self.filter = filter
    self.length = length
    self.resolution = resolution ?? WindowDefinition.defaultResolution(of: length)
  }

  package static let resolutions: [Span] = [
    .days(1), .hours(1), .minutes(5), .minutes(1), .seconds(1),
  ]

  /// The largest of 1 s, 1 m, 5 m, 1 h, 1 d that is at most a 24th of the window; 1 s for shorter windows.
  package static func defaultResolution(of length: Span) -> Span {
    resolutions.first { $0.microseconds <= length.microseconds / 24 } ?? .seconds(1)
  }

  /// What `resolution: exact` keeps: a tile for each instant that has events.
  package static let exact = Span(microseconds: 1)

  /// The first instant that a window read at `time` contains (semantics §4): floor(T − w, r), and the one after T − w where the
  /// window is exact.
  package func start(at time: Timestamp) -> Timestamp {
    Timestamp(
      microseconds: WindowDefinition.start(
        at: time.microseconds, length: length.microseconds, resolution: resolution.microseconds))
  }

  /// The same in microseconds.
  @inline(__always)
  package static func start(at time: Int64, length: Int64, resolution: Int64) -> Int64 {
    resolution == 1 ? time &- length &+ 1 : floorMultiple(time &- length, resolution)
  }

  /// The sketch that the function is read from; nil where a `Partial` is enough.
  package var sketch: SketchKind? {
    switch function {
    case .count, .sum, .mean, .min, .max: nil
    case .countDistinct: .distinct
    case .stddev, .variance: .moments
    case .quantile: .quantile
    case .first: .first
    case .last: .last(1)
    case .lastK: .last(limit ?? 1)
    }
  }
}

/// Code and rules that turn features into predictions, and predictions into the next version.
package struct ModelDefinition: Sendable, Equatable, Codable {
  package var name: String
  /// In the order of the model's input vector.
  package var features: [ModelFeature]
  /// Values that the request brings.
  package var inputs: [ColumnDefinition]
  /// How its calls wait and how many workers answer them; nil for the defaults.
  package var serving: ServingDefinition?
  package var missing: MissingPolicy
  package var spine: SpineDefinition?
  package var label: LabelDefinition?
  package var train: TrainingDefinition?
  package var drift: DriftDefinition?
  /// Nil where a new version waits for somebody to promote it.
  package var rollout: RolloutDefinition?
  /// Entities of all the views it reads, without repeats, in order of first use.
  package var entities: [String]

  package init(
    name: String, features: [ModelFeature], inputs: [ColumnDefinition] = [],
    missing: MissingPolicy = MissingPolicy(), spine: SpineDefinition? = nil,
    label: LabelDefinition? = nil, train: TrainingDefinition? = nil,
    drift: DriftDefinition? = nil, entities: [String] = [], rollout: RolloutDefinition? = nil
  ) {
    self.name = name
    self.features = features
    self.inputs = inputs
    self.missing = missing
    self.spine = spine
    self.label = label
    self.train = train
    self.drift = drift
    self.rollout = rollout
    self.entities = entities
  }
}

/// One column of a model's input vector.
package struct ModelFeature: Sendable, Equatable, Codable {
  package enum Origin: Sendable, Equatable, Codable {
    case view(FeatureName)
    case input
    case derived(Expression)
  }

  /// `view.feature` for a stored feature, the bare name for an input or a derived one.
  package var name: String
  package var origin: Origin
  package var type: ColumnType
  /// How many elements the model gets of a list that may be shorter or longer: the `k` of a `last_k`. Nil for anything else.
  package var elements: Int?

  package init(name: String, origin: Origin, type: ColumnType, elements: Int? = nil) {
    self.name = name
    self.origin = origin
    self.type = type
    self.elements = elements
  }
}

/// `view.feature`.
package struct FeatureName: Sendable, Hashable, Codable, CustomStringConvertible {
  package var view: String
  package var feature: String

  package init(view: String, feature: String) {
    self.view = view
    self.feature = feature
  }

  package init?(_ text: String) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else { return nil }
    self.init(view: String(parts[0]), feature: String(parts[1]))
  }

  package var description: String { "\(view).\(feature)" }
}

/// What a prediction does about a feature without a value.
package struct MissingPolicy: Sendable, Equatable, Codable {
  package enum Rule: Sendable, Equatable, Codable {
    case error, null
    case value(Double)
  }

  package var `default`: Rule
  /// By the feature's name in the vector.
  package var perFeature: [String: Rule]

  package init(default: Rule = .null, perFeature: [String: Rule] = [:]) {
    self.default = `default`
    self.perFeature = perFeature
  }

  package func rule(for feature: String) -> Rule { perFeature[feature] ?? `default` }
}

/// The table that training rows are made of: events of a source, at a time column.
package struct SpineDefinition: Sendable, Equatable, Codable {
  package var source: String
  /// A timestamp column of the source, or its event time.
  package var time: String

  package init(source: String, time: String) {
    self.source = source
    self.time = time
  }
}

package struct LabelDefinition: Sendable, Equatable, Codable {
  package var source: String
  /// The column that spine rows and label events share; nil where the label is in the spine's own source and event.
  package var join: String?
  package var value: Expression
  /// How long after the spine row's time the label is known for sure.
  package var delay: Span

  package init(source: String, join: String?, value: Expression, delay: Span) {
    self.source = source
    self.join = join
    self.value = value
    self.delay = delay
  }
}

package struct TrainingDefinition: Sendable, Equatable, Codable {
  package enum Metric: String, Sendable, Codable, CaseIterable {
    case rocAUC = "roc_auc"
    case logLoss = "log_loss"
    case accuracy
    case rmse
    case mae
  }

  package var run: CodeReference
  /// How far back training rows go from the as-of time; nil takes all.
  package var data: Span?
  /// Five cron fields.
  package var schedule: String?
  /// IANA zone of `schedule`.
  package var zone: String
  package var metric: Metric
  /// The last part of the time range that is kept for evaluation, a share of rows in (0, 1).
  package var holdout: Double
  /// Passed to the user's function as `context.params`, JSON object text.
  package var parameters: String

  package init(
    run: CodeReference, data: Span? = nil, schedule: String? = nil, zone: String = "UTC",
    metric: Metric = .rocAUC, holdout: Double = 0.2, parameters: String = "{}"
  ) {
    self.run = run
    self.data = data
    self.schedule = schedule
    self.zone = zone
    self.metric = metric
    self.holdout = holdout
    self.parameters = parameters
  }
}

package struct DriftDefinition: Sendable, Equatable, Codable {
  /// The stretch of the prediction log that is compared with the baseline.
  package var window: Span
  /// The drift score (greatest PSI of features and prediction) above which a retrain job is filed; nil only watches.
  package var retrainAbove: Double?
  /// No second retrain job is filed within this time of the last.
  package var coolDown: Span
  /// Windows with fewer predictions are not judged.
  package var minimumRows: Int

  package init(
    window: Span, retrainAbove: Double? = nil, coolDown: Span = .hours(1), minimumRows: Int = 200
  ) {
    self.window = window
    self.retrainAbove = retrainAbove
    self.coolDown = coolDown
    self.minimumRows = minimumRows
  }
}
