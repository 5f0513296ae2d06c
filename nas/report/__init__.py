"""What a run tells: tables for people, one JSON object for programs; read from trials alone."""
