"""What came of a run, as text for people, JSON, JUnit XML and SARIF."""
