import TestKit
import Testing

/// One platform for a whole suite, for tests that do not mind what others fed.
struct SharedPlatform: SuiteTrait, TestScoping {
  @TaskLocal private static var platform: PlatformProcess?

  /// The suite's platform.
  static var current: PlatformProcess {
    get throws {
      guard let platform else { throw Disappointment("the suite has no SharedPlatform trait") }
      return platform
    }
  }

  let models: [String]
  let environment: [String: String]
  let prepare: @Sendable (PlatformProcess) async throws -> Void

  init(
    models: [String] = [], environment: [String: String] = [:],
    prepare: @escaping @Sendable (PlatformProcess) async throws -> Void = { _ in }
  ) {
    self.models = models
    self.environment = environment
    self.prepare = prepare
  }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await ShopProject.with(models: models, environment: environment) { platform in
      try await prepare(platform)
      try await Self.$platform.withValue(platform) { try await function() }
    }
  }
}

extension Trait where Self == SharedPlatform {
  static var sharedPlatform: SharedPlatform { SharedPlatform() }
}
