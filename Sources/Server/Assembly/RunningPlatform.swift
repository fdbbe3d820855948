import Core
import Foundation

/// The platform that runs on a data directory, as it says itself in `martlet.json` there.
package struct RunningPlatform: Sendable, Codable {
  package var pid: Int32
  /// `http://host:port`
  package var http: String
  /// `host:port`
  package var grpc: String

  package var httpAddress: String { http }

  private static func path(_ configuration: Configuration) -> String {
    configuration.data.directory + "/martlet.json"
  }

  /// Nil where none runs; a file that a killed process left counts as none.
  package static func find(_ configuration: Configuration) -> RunningPlatform? {
    guard let bytes = FileManager.default.contents(atPath: path(configuration)),
      let found = try? JSONDecoder().decode(RunningPlatform.self, from: bytes),
      kill(found.pid, 0) == 0 || errno == EPERM
    else { return nil }
    return found
  }

  func write(_ configuration: Configuration) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    try encoder.encode(self).write(
      to: URL(fileURLWithPath: Self.path(configuration)), options: .atomic)
  }

  static func remove(_ configuration: Configuration) {
    try? FileManager.default.removeItem(atPath: path(configuration))
  }
}
